#!/usr/bin/perl
# What a dynamically linked program does on the network: lookups through the C library, by hand and by another program,
# answered by a responder in here; servers and clients of every kind of socket.
#
# usage: network.pl, where there are perl and busybox's nslookup, in a network namespace where port 53 is free
use strict;
use warnings;
use Fcntl;
use Socket qw(:all);

# 127.0.0.1 for every A, NXDOMAIN for what is under .invalid, truncation for large.*; empty for the rest.
sub answer {
    my ($query, $may_cut) = @_;
    my $name = unpack 'Z*', substr $query, 12;
    my $end = 12 + length($name) + 5;
    my $kind = unpack 'n', substr $query, $end - 4, 2;
    my $code = $name =~ /\x07invalid$/i ? 3 : 0;
    my $found = $kind == 1 && !$code;
    my $flags = 0x8180 | $code | ($may_cut && $name =~ /\x05large/i ? 0x0200 : 0);
    my $record = $found ? "\xc0\x0c" . pack('nnNn', 1, 1, 60, 4) . "\x7f\0\0\1" : '';
    return substr($query, 0, 2) . pack('n5', $flags, 1, $found, 0, 0) . substr($query, 12, $end - 12) . $record;
}

# A question as it is sent.
sub question {
    my ($name, $kind) = @_;
    return pack('n6', int rand 65536, 0x0100, 1, 0, 0, 0) . join('', map { pack 'C/a', $_ } split /\./, $name) . pack('Cnn', 0, $kind, 1);
}

sub bound {
    my ($family, $type, $address) = @_;
    socket my $socket, $family, $type, 0 or die "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $socket, $address or die "bind: $!";
    listen $socket, 8 if $type == SOCK_STREAM;
    return $socket;
}

my @servers;
sub serve {
    my ($each) = @_;
    my $child = fork // die "fork: $!";
    return push @servers, $child if $child;
    $each->() while 1;
}

my $loopback = inet_aton '127.0.0.1';
my $udp = bound AF_INET, SOCK_DGRAM, pack_sockaddr_in(53, $loopback);
serve sub {
    my $peer = recv $udp, my $query, 4096, 0;
    send $udp, answer($query, 1), 0, $peer;
};
my $tcp = bound AF_INET, SOCK_STREAM, pack_sockaddr_in(53, $loopback);
serve sub {
    accept my $peer, $tcp or return;
    while (sysread $peer, my $size, 2) {
        sysread $peer, my $query, unpack 'n', $size;
        syswrite $peer, pack 'n/a', answer($query, 0);
    }
};

open my $conf, '>', '/etc/resolv.conf' or die "resolv.conf: $!";
print $conf "nameserver 127.0.0.1\nsearch corp.test\noptions ndots:2 timeout:1 attempts:1\n";
close $conf;
for ('plain.example.test', 'short', 'nothing.invalid', 'MiXeD.Example.TEST.', 'large.example.test') {
    my $address = gethostbyname $_;
}
my ($error) = getaddrinfo 'both.example.test', '80', { socktype => SOCK_STREAM };
system 'nslookup', 'asked.example.test', '127.0.0.1';
socket my $asker, AF_INET, SOCK_DGRAM, 0 or die "socket: $!";
for ([ 'mail.example.test', 15 ], [ 'odd.example.test', 12345 ]) {
    send $asker, question(@$_), 0, pack_sockaddr_in(53, $loopback);
    recv $asker, my $reply, 4096, 0;
}
socket my $stream, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
connect $stream, pack_sockaddr_in(53, $loopback) or die "connect: $!";
for ('first.example.test', 'second.example.test') {
    syswrite $stream, pack 'n/a', question($_, 16);
    sysread $stream, my $reply, 4096;
}

for my $address (pack_sockaddr_in(0, $loopback), pack_sockaddr_in6(0, inet_pton AF_INET6, '::1'), pack_sockaddr_in(8090, INADDR_ANY)) {
    my $family = sockaddr_family $address;
    my $server = bound $family, SOCK_STREAM, $address;
    my $own = getsockname $server;
    socket my $client, $family, SOCK_STREAM, 0 or die "socket: $!";
    connect $client, $own or die "connect: $!";
}
for my $path ('/tmp/network.sock', "\0network") {
    my $server = bound AF_UNIX, SOCK_STREAM, pack_sockaddr_un($path);
    socket my $client, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
    connect $client, pack_sockaddr_un($path) or die "connect: $!";
}
socket my $refused, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
connect $refused, pack_sockaddr_in(9, $loopback) and die 'port 9 is open';

# Files by the calls that the C library does not make by itself: openat2, and a file that has no name.
my ($passwd, $how) = ('/etc/passwd', pack 'Q3', O_RDONLY, 0, 0);
syscall(437, -100, $passwd, $how, length $how) >= 0 or die "openat2: $!";
sysopen my $nameless, '/dev/shm', 020000000 | 0200000 | O_RDWR, 0600 or die "O_TMPFILE: $!";
unlink '/tmp/network.sock';
kill 'TERM', @servers;
wait for @servers;
print "network: done\n";
