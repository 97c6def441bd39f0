"""A matrix of models, boards and variants, run every night and remembered (docs/nightly.md)."""
