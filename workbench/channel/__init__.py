"""What two ends say to each other.

message, letter, conversation, outgoing: signed messages between institutions (docs/protocols/messages.md, letters.md).
terms, handshake, session, calls, stream, pad, files, group, tls_groups: sessions, sealed frames and links (docs/protocols/frame.md).
"""
