"""Several executors on one model: who disagrees with whom, where first, and what it means."""
