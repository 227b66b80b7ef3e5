"""Plants small bugs in the source, one at a time, and shows whether the tests find them.

`python -m tests.planting` (`make plant`) prints for each area of the source how many planted bugs were found, and how
many of those by tests of the area itself. It lists the survivors. A survivor is a gap in the tests, or a change that
makes no difference; harmless ones are listed in `harmless_survivors` with a reason, and do not count.

`operators` makes the bugs, `areas` says which tests belong to which source, `record` finds out which test runs which
line, `judge` runs tests against one bug, and `report` prints. Only `areas` knows about the product.
"""
