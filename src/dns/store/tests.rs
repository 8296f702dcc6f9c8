//! The journal, whole, torn and rewritten.
