# META.json is what PGXN takes (https://pgxn.org/spec/, version 1.0.0), and says the
# same as the control file, the change log, the tree and debian/.
use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $semver = qr/\A(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?\z/;
my $url = qr{\A[a-z][a-z0-9+.-]*://[^/]+}i;
my %license = map { $_ => 1 } qw(agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3
  gpl_1 gpl_2 gpl_3 lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib
  open_source restricted unrestricted unknown);
my %known = map { $_ => 1 } qw(name version abstract maintainer license provides meta-spec description generated_by
  release_status tags no_index prereqs resources);

sub is_string { my ($v) = @_; return defined $v && !ref $v && length $v; }
sub is_term { my ($v) = @_; return is_string($v) && length $v >= 2 && $v !~ m{[\s[:cntrl:]/\\]}; }
sub is_tag { my ($v) = @_; return is_string($v) && length $v <= 255 && $v !~ m{[[:cntrl:]/\\]}; }
sub is_range
{
	my ($v) = @_;
	return is_string($v) && !grep { !/\A(?:(?:[<>]=?|==|!=)\s*)?(.+)\z/ || ($1 ne '0' && $1 !~ $semver) } split /,\s*/, $v, -1;
}
sub list { my ($v) = @_; return ref $v eq 'ARRAY' ? @$v : ($v); }

# Everything that is wrong with a META.json, in words.
sub faults
{
	my ($meta) = @_;
	my @faults;
	my $want = sub { my ($ok, $what) = @_; push @faults, $what unless $ok; };

	foreach my $key (qw(name version abstract maintainer license provides meta-spec))
	{
		$want->(defined $meta->{$key}, "$key is missing");
	}
	$want->(scalar($known{$_} || /\Ax_/i), "unknown key $_") foreach sort keys %$meta;
	$want->(is_term($meta->{name}), 'name');
	$want->(scalar(($meta->{version} // '') =~ $semver), 'version');
	$want->(is_string($meta->{abstract}), 'abstract');
	$want->(!(grep { !is_string($_) } list($meta->{maintainer})), 'maintainer');
	if (ref $meta->{license} eq 'HASH') { $want->(!(grep { !/$url/ } values %{ $meta->{license} }), 'license'); }
	else { $want->(!(grep { !$license{ $_ // '' } } list($meta->{license})), 'license'); }
	$want->(scalar(($meta->{'meta-spec'}{version} // '') eq '1.0.0'), 'meta-spec version');
	$want->(scalar(($meta->{'meta-spec'}{url} // $url) =~ m{\Ahttps?://pgxn\.org/(?:meta/spec\.txt|spec/1\.0\.0/)\z}), 'meta-spec url') if exists $meta->{'meta-spec'}{url};

	my $provides = ref $meta->{provides} eq 'HASH' ? $meta->{provides} : {};
	$want->(%$provides, 'provides');
	foreach my $name (sort keys %$provides)
	{
		my $p = $provides->{$name};
		$want->(is_term($name), "provides $name");
		$want->(is_string($p->{file}) && -f $p->{file}, "provides $name: file");
		$want->(!exists $p->{docfile} || (is_string($p->{docfile}) && -f $p->{docfile}), "provides $name: docfile");
		$want->(scalar(($p->{version} // '') =~ $semver), "provides $name: version");
		$want->(!exists $p->{abstract} || is_string($p->{abstract}), "provides $name: abstract");
		$want->(scalar(/\A(?:file|docfile|version|abstract)\z/ || /\Ax_/i), "provides $name: unknown key $_") foreach sort keys %$p;
	}
	foreach my $phase (sort keys %{ $meta->{prereqs} // {} })
	{
		$want->(scalar($phase =~ /\A(?:configure|build|test|runtime|develop|x_.*)\z/i), "prereqs: phase $phase");
		foreach my $relation (sort keys %{ $meta->{prereqs}{$phase} })
		{
			my $needs = $meta->{prereqs}{$phase}{$relation};
			$want->(scalar($relation =~ /\A(?:requires|recommends|suggests|conflicts|x_.*)\z/i), "prereqs $phase: relation $relation");
			$want->(is_term($_) && is_range($needs->{$_}), "prereqs $phase $relation: $_") foreach sort keys %$needs;
		}
	}
	$want->(scalar(($meta->{release_status} // 'stable') =~ /\A(?:stable|testing|unstable)\z/), 'release_status');
	$want->(scalar(!(grep { !is_tag($_) } list($meta->{tags} // 'x'))), 'tags');
	$want->(!exists $meta->{$_} || is_string($meta->{$_}), $_) foreach qw(description generated_by);
	return join(', ', @faults);
}

my $text = slurp_file('META.json');
my $meta = decode_json($text);
is(faults($meta), '', 'META.json meets the specification');

# the check finds what is wrong
sub changed { my ($change) = @_; my $copy = decode_json($text); $change->($copy); return faults($copy); }
is(changed(sub { delete $_[0]{license} }), 'license is missing, license', 'a missing key is found');
is(changed(sub { $_[0]{license} = 'postgres' }), 'license', 'an unknown licence');
is(changed(sub { $_[0]{version} = '0.1' }), 'version', 'a version that is none');
is(changed(sub { $_[0]{provides}{walwarden}{file} = 'none.sql' }), 'provides walwarden: file', 'a file that is not there');
is(changed(sub { $_[0]{prereqs}{runtime}{requires}{PostgreSQL} = '15' }), 'prereqs runtime requires: PostgreSQL', 'a range that is none');
is(changed(sub { $_[0]{prereqs}{run} = {} }), 'prereqs: phase run', 'an unknown phase');
is(changed(sub { $_[0]{colour} = 'red' }), 'unknown key colour', 'an unknown key');

# one truth in several files
my $control = slurp_file('walwarden.control');
my ($version) = $control =~ /^default_version *= *'(.*)'/m;
my ($requires) = $control =~ /^requires *= *'(.*)'/m;
is($meta->{version}, $version, 'the version is the control file\'s');
is($meta->{provides}{walwarden}{version}, $version, 'that of the extension too');
is($meta->{license}, 'postgresql', 'the licence');
like(slurp_file('LICENSE'), qr/\AThe PostgreSQL License\n/, 'is LICENSE');
my $runtime = $meta->{prereqs}{runtime}{requires};
ok(exists $runtime->{$_}, "prereqs name $_") foreach split /\s*,\s*/, $requires;
is($runtime->{PostgreSQL}, '15.0.0', 'and the oldest server');
like(slurp_file('src/base/compat.h'), qr/PG_VERSION_NUM < 150000 /, 'as the code has it');
is(slurp_file('debian/pgversions'), "15+\n", 'and debian/');
like(slurp_file('CHANGELOG.md'), qr/^## \Q$version\E\b/m, 'the change log has the version');
like(slurp_file('debian/changelog'), qr/\Awalwarden \(\Q$version\E-\d+\) /, 'so has debian/changelog');

# a control file for each server is made of control.in; one for 15 is in the tree
(my $generated = slurp_file('debian/control.in')) =~ s/PGVERSION/15/g;
is(slurp_file('debian/control'), $generated, 'debian/control is that of control.in');

done_testing();
