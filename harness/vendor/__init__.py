"""Nordic's own toolchain as a back end (docs/vendor-backend.md). Nothing of it is shipped here."""
