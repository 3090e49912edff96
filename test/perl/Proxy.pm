# A process between a client and a server of PostgreSQL, on Unix sockets, which a test can make
# slow, or stop at what a client says.
#
#	my $proxy = Proxy->new($node);		# connect to $proxy->connstr
#	$proxy->set(rate => 10_000);		# bytes from the server between pauses, for all connections together
#	$proxy->set(rate => 10_000, pause => 0.2);	# seconds, instead of 0.02
#	$proxy->set(hold => 'BEGIN');		# a connection on which a client says this is read no more
#	$proxy->held;						# whether there is one
#	$proxy->set;						# all goes on
package Proxy;
use strict;
use warnings;
use File::Temp;
use IO::Select;
use IO::Socket::UNIX;
use PostgreSQL::Test::Utils qw(slurp_file append_to_file);
use Time::HiRes qw(sleep);

my $port = 5432;
my @running;

sub new
{
	my ($class, $node) = @_;
	my $dir = File::Temp::tempdir(CLEANUP => 1);
	my $self = bless { dir => $dir, test => $$ }, $class;
	my $listener = IO::Socket::UNIX->new(Local => "$dir/.s.PGSQL.$port", Listen => 10) or die "could not listen: $!";
	$self->set;
	defined($self->{pid} = fork) or die "could not fork: $!";
	if ($self->{pid} == 0)
	{
		$SIG{TERM} = 'DEFAULT';
		$SIG{PIPE} = 'IGNORE';
		eval { _serve($dir, $listener, $node->host . '/.s.PGSQL.' . $node->port); };
		print STDERR "proxy: $@" if $@;
		POSIX::_exit(1);
	}
	close $listener;
	push @running, $self;
	return $self;
}

sub connstr { my ($self) = @_; return "host=$self->{dir} port=$port"; }
sub held { my ($self) = @_; return -e "$self->{dir}/held"; }

sub set
{
	my ($self, %mode) = @_;
	unlink "$self->{dir}/held";
	append_to_file("$self->{dir}/mode.new", join '', map { "$_=$mode{$_}\n" } keys %mode);
	rename "$self->{dir}/mode.new", "$self->{dir}/mode" or die "could not rename: $!";
	return;
}

END { local $?; kill 'TERM', map { $_->{test} == $$ ? $_->{pid} : () } @running; }

# pairs: { from client, to server, held: what was read last of the client }
sub _serve
{
	my ($dir, $listener, $server) = @_;
	my $select = IO::Select->new($listener);
	my (%peer, %is_client, %kept);
	my $end = sub {
		my @pair = ($_[0], $peer{ $_[0] });
		for my $socket (@pair)
		{
			$select->remove($socket);
			delete $_->{$socket} for (\%peer, \%is_client, \%kept);
			close $socket;
		}
	};
	while (1)
	{
		my %mode = slurp_file("$dir/mode") =~ /^(\w+)=(.*)$/mg;
		my $left = $mode{rate} // 1 << 30;

		if (!defined $mode{hold})
		{
			for my $client (map { $_->{socket} } values %kept)
			{
				syswrite $peer{$client}, delete($kept{$client})->{data};
				$select->add($client);
			}
		}
		for my $socket ($select->can_read(0.02))
		{
			if ($socket == $listener)
			{
				my $client = $listener->accept or next;
				my $upstream = IO::Socket::UNIX->new(Peer => $server);
				if (!$upstream) { close $client; next; }
				%peer = (%peer, $client => $upstream, $upstream => $client);
				$is_client{$client} = 1;
				$select->add($client, $upstream);
				next;
			}
			next if !$peer{$socket} || (!$is_client{$socket} && $left <= 0);
			my $n = sysread $socket, my $data, $is_client{$socket} || $left > 16384 ? 16384 : $left;
			if (!$n) { $end->($socket); next; }
			if ($is_client{$socket} && defined $mode{hold} && index($data, $mode{hold}) >= 0)
			{
				$kept{$socket} = { socket => $socket, data => $data };
				$select->remove($socket);
				append_to_file("$dir/held", '');
				next;
			}
			$left -= $n if !$is_client{$socket};
			for (my $done = 0; $done < $n;)
			{
				my $more = syswrite $peer{$socket}, $data, $n - $done, $done;
				if (!$more) { $end->($socket); last; }
				$done += $more;
			}
		}
		sleep $mode{pause} // 0.02 if defined $mode{rate};
	}
}

1;
