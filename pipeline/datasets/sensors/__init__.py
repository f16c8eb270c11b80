"""Connections as network sensors log them: Zeek, Suricata and nfstream. Each states its fields in one table."""
