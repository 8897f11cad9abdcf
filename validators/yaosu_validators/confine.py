"""Shuts the running process in before it reads foreign bytes (Linux only).

Order matters: everything is imported first, then limits, capabilities, Landlock, seccomp, and
only then is a foreign byte read. Each piece that cannot be put in place is an error, never a
silent step down: a market that believes it is confined and is not would be worse than one that
refuses to start (reliability.md, fact 2).
"""

from __future__ import annotations

import ctypes
import errno
import math
import mimetypes
import os
import resource
import stat
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

UNAVAILABLE_EXIT = 97
"""Exit status of a child that could not be confined; the parent takes it for a wrong set-up."""

# prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 38, 4

# landlock(7): system calls (the same numbers on every architecture) and access rights
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_READ = _READ_FILE | _READ_DIR
_SCRATCH = (
    _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
)
_ON_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE

_CAP_DAC_READ_SEARCH = 1 << 2

# What a reader of data never needs. The first group must be refusable, or the child is not safe;
# the second may be unknown to an older libseccomp.
_REFUSED = (
    "socket socketpair connect bind listen accept accept4 sendto sendmsg execve execveat fork "
    "vfork ptrace mount umount2 unshare setns chroot pivot_root bpf keyctl add_key request_key "
    "perf_event_open userfaultfd kexec_load init_module finit_module delete_module "
    "process_vm_readv process_vm_writev open_by_handle_at name_to_handle_at tkill "
    "rt_sigqueueinfo rt_tgsigqueueinfo chmod fchmod fchmodat chown lchown fchown fchownat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr utime utimes utimensat "
    "futimesat truncate link linkat symlink symlinkat mknod mknodat setrlimit setuid setgid "
    "setreuid setregid setresuid setresgid setgroups capset personality shmget shmat msgget "
    "semget mq_open quotactl acct swapon swapoff reboot sethostname setdomainname settimeofday "
    "clock_settime adjtimex clock_adjtime iopl ioperm syslog vhangup fanotify_init "
    "setsid setpgid"
)
_REFUSED_IF_KNOWN = (
    "io_uring_setup io_uring_enter io_uring_register pidfd_open pidfd_getfd pidfd_send_signal "
    "fchmodat2 process_madvise process_mrelease move_mount open_tree fsopen fsmount fsconfig "
    "fspick mount_setattr landlock_create_ruleset memfd_secret setxattrat removexattrat "
    "kexec_file_load"
)


class Unconfined(Exception):
    """A part of the confinement is missing on this machine; the message says which."""


def confine(
    *,
    reads: Iterable[Path],
    lists: Iterable[Path],
    scratch: Path,
    memory_bytes: int,
    cpu_s: int,
    file_bytes: int,
    open_files: int,
) -> None:
    """Leave this process nothing but `reads`, `scratch` and its limits, for good.

    Files below `reads` can be read; below `lists` only names can be; `scratch` can be written.
    """
    if sys.platform != "linux":
        raise Unconfined(f"no Landlock on {sys.platform}")
    seccomp = _seccomp_library()
    limit(memory_bytes=memory_bytes, cpu_s=cpu_s, file_bytes=file_bytes, open_files=open_files)
    libc = ctypes.CDLL(None, use_errno=True)
    _drop_capabilities(libc)
    rights = [(path, _READ) for path in (*reads, *runtime_folders())]
    rights += [(path, _READ_DIR) for path in lists]
    rights += [(scratch, _SCRATCH), (Path("/dev/null"), _ON_FILES)]
    _landlock(libc, rights)
    _filter_system_calls(seccomp)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def limit(*, memory_bytes: int, cpu_s: int, file_bytes: int, open_files: int) -> None:
    """Set the hard limits of this process; SIGXCPU comes a second before the kernel's SIGKILL."""
    cpu_s += math.ceil(time.process_time())  # what the imports took is not the file's doing
    for which, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, open_files, open_files),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
    ):
        _, ceiling = resource.getrlimit(which)
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(which, (soft, hard))


def runtime_folders() -> list[Path]:
    """Return what Python itself reads: its libraries, ours, the system's, the time zones."""
    wanted = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    wanted += [entry for entry in sys.path if entry]
    wanted += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime"]
    wanted += map(
        str, mimetypes.knownfiles
    )  # sheet readers ask for them, and fail where they may not look
    wanted += ["/dev/urandom", "/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system/cpu"]
    seen = dict.fromkeys(Path(os.path.realpath(entry)) for entry in wanted)
    return [path for path in seen if path.exists()]


def _seccomp_library() -> ModuleType:
    try:
        import pyseccomp
    except Exception as why:
        raise Unconfined(f"pyseccomp cannot be loaded ({why})") from None
    return pyseccomp  # type: ignore[no-any-return]


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up root's powers except reading: file modes still apply to everyone else's files."""
    if os.geteuid() != 0:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    kept = _CAP_DAC_READ_SEARCH
    for attempt in (kept, 0):
        sets = (ctypes.c_uint32 * 6)(attempt, attempt, 0, 0, 0, 0)
        if libc.capset(ctypes.byref(header), ctypes.byref(sets)) == 0:
            return
    raise Unconfined(f"capset: {os.strerror(ctypes.get_errno())}")


def _landlock(libc: ctypes.CDLL, rights: Sequence[tuple[Path, int]]) -> None:
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        raise Unconfined("the kernel has no Landlock, or it is switched off")

    class Ruleset(ctypes.Structure):
        _fields_ = (
            ("fs", ctypes.c_uint64),
            ("net", ctypes.c_uint64),
            ("scoped", ctypes.c_uint64),
        )

    handled = (1 << _RIGHTS_BY_ABI.get(abi, 16)) - 1
    attr = Ruleset(handled, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attr), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise Unconfined(f"landlock_create_ruleset: {os.strerror(ctypes.get_errno())}")
    for path, access in rights:
        _allow(libc, ruleset, path, access & handled)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Unconfined("no_new_privs is refused")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise Unconfined(f"landlock_restrict_self: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    class Beneath(ctypes.Structure):
        _pack_ = 1
        _layout_ = "ms"
        _fields_ = (("access", ctypes.c_uint64), ("fd", ctypes.c_int32))

    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _ON_FILES
        rule = Beneath(access, fd)
        if libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0):
            raise Unconfined(f"landlock_add_rule: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


def _filter_system_calls(s: ModuleType) -> None:
    refuse = s.ERRNO(errno.EPERM)
    rules = s.SyscallFilter(defaction=s.ALLOW)
    own = os.getpid()
    try:
        for name in _REFUSED.split():
            rules.add_rule(refuse, name)
        # A clone without CLONE_THREAD is a fork; clone3 hides its flags behind a pointer, and
        # glibc falls back to clone where it is not there.
        rules.add_rule(refuse, "clone", s.Arg(0, s.MASKED_EQ, 0x10000, 0))
        rules.add_rule(s.ERRNO(errno.ENOSYS), "clone3")
        for name in ("kill", "tgkill"):  # abort() signals itself
            rules.add_rule(refuse, name, s.Arg(0, s.NE, own))
        rules.add_rule(refuse, "prctl", s.Arg(0, s.EQ, _PR_SET_PDEATHSIG))  # ends with its parent
        rules.add_rule(refuse, "prlimit64", s.Arg(2, s.NE, 0))  # reading limits is fine
    except Exception as why:
        raise Unconfined(f"seccomp rule: {why!r}") from None
    for name in _REFUSED_IF_KNOWN.split():
        try:
            rules.add_rule(refuse, name)
        except Exception:  # this libseccomp is older than the call, and so is its default
            continue
    try:
        rules.load()
    except Exception as why:
        raise Unconfined(f"seccomp cannot be loaded ({why!r})") from None
