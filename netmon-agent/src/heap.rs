//! The heap after work that took much of it.

/// Gives freed memory back to the system. The C library keeps what lies below memory that is in use;
/// after reading the kernel's types or a long watch list that is most of what the agent would be
/// seen to take.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes no pointer, and the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}
