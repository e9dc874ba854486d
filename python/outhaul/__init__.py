"""Durable background work for async Python."""
