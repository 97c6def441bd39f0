"""Finding the commit that changed a metric (docs/nightly.md, "Finding the commit")."""
