"""Media files on a disk: receives uploads, finds out what they are, finds the files of tasks, and removes old ones.

The records are the store's, see `everpost.store.files`.
"""
