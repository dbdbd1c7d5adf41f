"""Leases, meters, servers and scaling. Pure: lease, servers, billing, metering, schedule, scaling, optimum. The rest touch the node."""
