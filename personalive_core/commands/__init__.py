"""The commands: one file each, with its arguments (`add_arguments`) and its work (`run`)."""
