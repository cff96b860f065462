//! Every row of the transform tables.
