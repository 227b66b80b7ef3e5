"""The same source and the same history under the official SDK and under ours: the same verdict."""
