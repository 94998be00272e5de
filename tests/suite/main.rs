//! The product from the outside: real sockets, real HTTP, real files, the real binary.

mod architecture;
