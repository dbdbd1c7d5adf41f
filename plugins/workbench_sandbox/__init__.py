"""The sandbox (沙箱): what runs beside a provider's node and, isolated, inside a leased sandbox.

Not a plugin: it registers no hook and knows of the host only errors, cryptography, the domain, contracts, the channel's
sessions and programs; what runs inside knows neither contracts nor programs. Documents: docs/protocols/sandbox.md (what
is said), docs/sandbox-design.md (which program does what).

    formats/   pure: what the sandbox, its provider and its tenant sign and send; one module a section of the protocol
    corpus/    pure: documents with passages, embeddings and their search as one file
    engines/   who answers: the contract, the extractive engine, generators, engines behind an address
    inside/    the worker: session, measuring, probing, filter
    server/    the program that starts, limits, relays, kills and looks
"""
