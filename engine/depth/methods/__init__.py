"""Methods of depth: each module has a frozen dataclass `Method` with `measure(subject)`."""
