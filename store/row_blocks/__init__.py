"""Row blocks: rows of many items as columns, so that what is done to all of them is done to arrays.

May import the rest of `store`. Invariant: a block says of each row what the row said, as far as scorers need it.
"""
