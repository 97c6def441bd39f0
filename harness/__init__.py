"""The harness: builds, flashes, streams, measures and compares what the compiler made."""
