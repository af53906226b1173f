# shellcheck shell=sh disable=SC2034  # to be sourced
# How strace has to be called for `wsp_tests::strace` to read its log.
#
# In an empty network namespace (`unshare --net`) strace finds no socket's addresses and so prints its inode number: the one
# name of a socket that holds across dup, fork, exec and descriptor passing. Strings in hex leave nothing to misread.
files=open,openat,openat2,creat,open_by_handle_at,chdir,fchdir,chroot,pivot_root
makings=symlink,symlinkat,link,linkat,rename,renameat,renameat2,pwrite64,copy_file_range,sendfile
processes=execve,execveat,clone,clone3,fork,vfork
sockets=socket,bind,listen,getsockname,connect,write,writev,sendto,sendmsg,sendmmsg
STRACE_OPTIONS="-f -yy -xx -s 2048 --decode-pids=pidns -e trace=$files,$makings,$processes,$sockets"
