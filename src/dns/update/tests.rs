//! Updates as packets, and what becomes of the zones.
