"""The commands of `yaosu`, one file per family; each loads what it needs when it runs."""
