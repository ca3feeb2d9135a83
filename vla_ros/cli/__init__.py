"""The `vla-ros` command: one file per sub-command, imported only when it runs."""
