"""Bytes and frames between two daemons: TLS over a stream, frames over TLS, dialling and listening.

Nothing here knows of groups, keys or messages. A connection that leaves this room is confidential and bound
to its two ends by `exporter`, and that is all: who stands at the other end is proved inside, by the connect
machine.
"""
