# An empty file system of 40 MB for a test that fills it, in $SmallDisk::path: a tmpfs in a mount
# namespace of the test's own, which takes no privileges where the kernel allows that; or
# SMALL_DISK, where the environment names one (in a chroot, say). Use it before anything else
# is loaded: the test is run again, in there.
package SmallDisk;
use strict;
use warnings;
use File::Path qw(remove_tree);
use File::Temp;
use Test::More;

our $path = $ENV{SMALL_DISK};
if (!$path)
{
	my $disk = File::Temp::tempdir();
	# root in there mounts; the server must not be root, so there is a second namespace
	my @inside = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c',
		'mount -t tmpfs -o size=40m none "$1" && exec unshare --user --map-user="$2" --map-group="$3" env SMALL_DISK="$1" "$4" "$5"', 'sh', $disk, $<, $( + 0);
	my $reason = qx{@{[ join ' ', map { "'$_'" } @inside, qw(true true) ]} 2>&1};
	if ($? == 0) { system(@inside, $^X, $0); }
	my $status = $? >> 8;
	rmdir $disk;
	plan skip_all => 'no small disk without privileges: ' . $reason =~ s/\s+/ /gr if $reason;
	exit $status;
}
# it is going to be filled
die "$path is not empty, or not small" if glob("$path/*") || (split ' ', qx{df -Pk '$path' | tail -n 1})[1] > 100_000;
# when the clusters in it are stopped: the next test finds it empty
END { remove_tree($path, { keep_root => 1 }) if defined $path && $path eq ($ENV{SMALL_DISK} // ''); }

1;
