"""Files: what keeps a folder whole when its process ends anywhere.

May import nothing of sidestream. Invariant: whatever is killed, a folder has one owner, and a file its old content or
its new one.
"""
