//! How fast is the turn of streams?

fn main() {}
