#!/usr/bin/perl
# A Net::SIP client: perl netsip.pl answer|call LOCAL PROXY DOMAIN USER PASSWORD [CALLEE]
# Prints one word per event; exit code 0 if everything went as it should.
use strict;
use warnings;
use Net::SIP;

$| = 1;
my ($mode, $local, $proxy, $domain, $user, $password, $callee) = @ARGV;
my $deadline = 30;

my $ua = Net::SIP::Simple->new(
    legs           => [$local],
    outgoing_proxy => $proxy,
    registrar      => $proxy,
    domain         => $domain,
    from           => "sip:$user\@$domain",
    contact        => "sip:$user\@$local",
    auth           => [$user, $password],
);

$ua->register(expires => 300) or die "cannot register: " . $ua->error . "\n";
print "registered\n";

if ($mode eq 'answer') {
    my $ended;
    $ua->listen(
        cb_create      => sub { print "ringing\n"; 1 },
        cb_established => sub { print "answered\n" },
        cb_cleanup     => sub { print "ended\n"; $ended = 1 },
        init_media     => $ua->rtp('media_send_recv', sub { pack('C', 255) x 160 }),
    );
    $ua->loop($deadline, \$ended);
    die "no call in $deadline s\n" unless $ended;
}
elsif ($mode eq 'call') {
    # 8000 samples of u-law, 160 in a packet: one second.
    my ($sent, $stopped) = (0);
    my $call = $ua->invite(
        "sip:$callee\@$domain",
        init_media => $ua->rtp('media_send_recv', sub { return if $sent >= 50; $sent++; pack('C', 255) x 160 }),
        rtp_param  => [0, 160, 160 / 8000],
        cb_rtp_done => \$stopped,
    ) or die "cannot call: " . $ua->error . "\n";
    $ua->loop($deadline, \$stopped);
    die "call failed: " . $call->error . "\n" if $call->error;
    print "established\n";
    die "media did not end in $deadline s\n" unless $stopped;
    print "media $sent packets\n";
    my $ended;
    $call->bye(cb_final => \$ended);
    $ua->loop($deadline, \$ended);
    die "BYE was not answered in $deadline s\n" unless $ended;
    print "ended\n";
}
else {
    die "unknown mode $mode: answer or call\n";
}
