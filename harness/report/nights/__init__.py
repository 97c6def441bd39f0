"""The page of a history: what last night said, and how every job went over the nights."""
