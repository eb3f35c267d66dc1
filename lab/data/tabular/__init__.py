"""Seeded draws from parquet tables, on this machine or hosted, that read no more than they need."""
