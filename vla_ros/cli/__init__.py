"""The `vla-ros` command: one file a sub-command, imported only when it runs."""
