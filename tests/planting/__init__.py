"""Plant small bugs in the source, one at a time, and see whether the tests notice.

`python -m tests.planting` (`make plant`) prints, per area of the source, how many of the planted bugs were found, how
many of them by tests of the area itself, and lists the survivors. A survivor is a hole in the tests, or a change that
makes no difference; the latter are listed, with the reason, in `harmless_survivors` and do not count.

`operators` makes the bugs, `areas` says which source and which tests belong together, `record` finds out which test
runs which line, `judge` runs the tests against one bug, `report` prints. Nothing here knows the product.
"""
