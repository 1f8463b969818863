//! Another kernel, in a virtual machine that shows the host's files and changes none of them.

mod cpio;
mod kernel;
mod machine;
mod modules;

pub use self::{
    kernel::Kernel,
    machine::{Acceleration, Job, Machine},
};
