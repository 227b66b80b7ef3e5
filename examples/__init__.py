"""Small programs in the style of a first project. Each folder says in its README how to run it."""
