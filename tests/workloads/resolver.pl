#!/usr/bin/perl
# Connects sockets to port 53 (UDP over IPv4 and IPv6, and TCP), says so, and asks on each for a name of its own, again and again.
use strict;
use warnings;
use IO::Socket::IP;

my $server = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 53, Proto => 'tcp', Listen => 1) or die "listen: $@";
my %sockets = (
    udp4 => IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => 53, Proto => 'udp'),
    udp6 => IO::Socket::IP->new(PeerHost => '::1',       PeerPort => 53, Proto => 'udp'),
    tcp4 => IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => 53, Proto => 'tcp'),
);
defined $sockets{$_} or die "$_: $!" for keys %sockets;
my $accepted = $server->accept or die "accept: $!";
$| = 1;
print "connected\n";

sub question {
    my ($host) = @_;
    my $name = join '', map { chr(length) . $_ } $host, 'before', 'test';
    return pack('n6', 0x1234, 0x0100, 1, 0, 0, 0) . "$name\0" . pack('n2', 1, 1);
}

while (1) {
    for my $host (sort keys %sockets) {
        my $question = question($host);
        $question = pack('n', length $question) . $question if $host =~ /^tcp/;
        # Nobody answers by UDP: the refusal comes with a later call.
        syswrite $sockets{$host}, $question;
    }
    sysread $accepted, my $asked, 4096;
    select undef, undef, undef, 0.2;
}
