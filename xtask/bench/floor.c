/* The least that a container start can cost on a machine: one process with namespaces of its own, a root with the file
 * systems that every program expects, fewer privileges, a filter of one instruction, the program, its end.
 *
 *     floor [--network] ROOT PROGRAM [ARGUMENT...]
 *
 * --network gives it a network namespace too. No view of the host, no control group, no supervision: nothing that a
 * person wants of a container. What a real one takes more is what its features cost. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    const char *type, *where, *options;
    unsigned long flags;
};

struct device {
    const char *where;
    unsigned major, minor;
};

static void need(long result, const char *what) {
    if (result >= 0)
        return;
    perror(what);
    _exit(99);
}

static void make_root(const char *root) {
    static const struct place places[] = {
        {"proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {"sysfs", "sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY},
        {"tmpfs", "dev", "mode=755", MS_NOSUID | MS_STRICTATIME},
        {"tmpfs", "run", "mode=755", MS_NOSUID | MS_NODEV},
        {"tmpfs", "tmp", "mode=1777", MS_NOSUID | MS_NODEV},
        {"devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=620", MS_NOSUID | MS_NOEXEC},
        {"tmpfs", "dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
    };
    static const struct device devices[] = {
        {"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
        {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
    };

    need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    need(mount(root, root, NULL, MS_BIND | MS_REC, NULL), root);
    need(chdir(root), root);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const struct place *one = &places[i];
        if (strncmp(one->where, "dev/", 4) == 0)
            need(mkdir(one->where, 0755), one->where);
        need(mount(one->type, one->where, one->type, one->flags, one->options), one->where);
    }
    umask(0);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        need(mknod(devices[i].where, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), devices[i].where);
    need(symlink("pts/ptmx", "dev/ptmx"), "dev/ptmx");
    need(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    need(umount2(".", MNT_DETACH), "leave the old root");
}

static void give_up_privileges(void) {
    /* As many as a container of systemd-nspawn keeps: 26 of 41. */
    for (int number = 0; number <= CAP_LAST_CAP; number++)
        if (number == CAP_SYS_MODULE || number == CAP_SYS_RAWIO || number == CAP_SYS_TIME || number >= CAP_MAC_OVERRIDE)
            need(prctl(PR_CAPBSET_DROP, number, 0, 0, 0), "drop a capability");
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

int main(int count, char **words) {
    unsigned long network = 0;
    if (count > 1 && strcmp(words[1], "--network") == 0) {
        network = CLONE_NEWNET;
        words++, count--;
    }
    if (count < 3) {
        fprintf(stderr, "usage: floor [--network] ROOT PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    struct clone_args how = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_VFORK | network,
        .exit_signal = SIGCHLD,
    };
    pid_t child = syscall(SYS_clone3, &how, sizeof how);
    need(child, "clone3");
    if (child == 0) {
        make_root(words[1]);
        need(sethostname("floor", 5), "sethostname");
        give_up_privileges();
        execv(words[2], words + 2);
        need(-1, words[2]);
    }
    int status;
    need(waitpid(child, &status, 0), "wait");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
