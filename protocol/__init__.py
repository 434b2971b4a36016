"""The protocol of peerd, as pure rules: no I/O, no clock, no randomness."""
