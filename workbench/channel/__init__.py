"""What two ends say to each other.

message, letter, conversation, outgoing: signed messages between institutions (docs/protocols/messages.md, letters.md).
terms, handshake, session, stream, pad, files, tls_groups: sessions, sealed frames and links (docs/protocols/frame.md).
"""
