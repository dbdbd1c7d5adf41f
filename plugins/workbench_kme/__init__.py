"""The key-management entity (KME, 密钥管理实体): a program of its own at each end of a line, beside a site's node.

Not a plugin: it registers no hook and knows no module of the host but errors, cryptography, the domain and the store.
Documents: docs/protocols/qkd.md (physics and post-processing) and docs/protocols/key-delivery.md (keys and interfaces).

    physics/   the line as a model, estimation, rates; pure
    distill/   from raw detections to secret keys, two state machines; pure
    keys/      the key store of one site; devices/ what wraps its values
    sources/   where key material comes from: simulated, device-014, imported
    service/   the process: ETSI GS QKD 014, management, the link between the two KMEs of a line; the typed clients
"""
