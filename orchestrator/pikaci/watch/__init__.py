"""`pikaci run --watch`: running again when the tree changes.

`watcher` tells when the tree has changed and is quiet again, from the notices of `inotify` or
`polling` about the directories that `places` finds. What has changed is then for a snapshot to say.
"""
