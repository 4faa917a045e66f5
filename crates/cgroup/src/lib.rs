//! Control groups: v2, v1 and hybrid hosts, systemd scopes, device programs.
