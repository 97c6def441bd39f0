"""Samples and models: what is known of them, how they are fetched, and as what they run."""
