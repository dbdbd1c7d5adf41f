"""The process of a key-management entity and the clients of its interfaces. Document: docs/protocols/key-delivery.md.

    config, sites   a site's folder: what stands in it, and making the folders of a pair
    entity, line    the KME as an object: its store, its lines, blocks, alarms, being in step
    delivery        ETSI GS QKD 014;  management: the site's own node;  link: the other KME of a line
    listening       HTTPS and identities;  __main__: the process
    client, views   typed clients of both interfaces;  supervise: starting and stopping the processes of a folder

Importing `client`, `views` or `supervise` loads neither the server nor any arithmetic.
"""
