//! Empty: it exists so that netmon-agent can have a build dependency on this package, which makes
//! cargo rebuild the programs when they change.
#![no_std]
