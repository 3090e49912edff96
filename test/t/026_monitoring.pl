# What docs/prometheus ships: the queries, as a monitor and as a member of pg_monitor, and
# on a standby; the metrics that postgres_exporter makes of them; the alert rules. The
# programs are on the PATH or in $EXPORTER_BIN and $PROMTOOL_BIN; what is missing is skipped.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'walwarden'\nwalwarden.maintenance_interval = '1d'\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	CREATE ROLE exporter LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN; CREATE ROLE web; CREATE ROLE authenticator LOGIN;
	SELECT walwarden.grant_monitor('exporter'), walwarden.grant_rest('web', 'authenticator'), walwarden.create_org('acme'), walwarden.create_org('other');
	SELECT walwarden.issue_token('acme', 'a'), walwarden.issue_token('acme', 'b', expires_at => now() + interval '1 day');
	SELECT walwarden.revoke_token(token_id) FROM walwarden.issue_token('other', 'c');
	SELECT walwarden.run_maintenance();
	ALTER ROLE authenticator IN DATABASE postgres RESET log_parameter_max_length});
$node->psql('postgres', q{SELECT walwarden.authenticate('wal_' || repeat('0', 64))});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay');

# each query gives the columns of which the file makes labels and metrics
my (%queries, %columns, $name);
foreach (split /\n/, slurp_file('docs/prometheus/queries.yaml'))
{
	$name = $1 if /^(walwarden_\w+):$/;
	$queries{$name} = $1 if /^  query: "(.*)"$/;
	push @{ $columns{$name} }, $1 if /^    - (\w+): \{usage: "(?:LABEL|GAUGE|COUNTER)", description: ".+"\}$/;
}
is(join(' ', sort keys %queries), 'walwarden_alarm walwarden_auth walwarden_chain walwarden_grant walwarden_job walwarden_summary walwarden_token', 'the file has a query for every view');
foreach my $name (sort keys %queries)
{
	foreach my $server ($node, $standby)
	{
		my ($ret, $out) = $server->psql('postgres', "$queries{$name} LIMIT 0", extra_params => [ '-U', 'exporter', '--no-psqlrc', '-P', 'tuples_only=off', '-P', 'footer=off' ]);
		is($out, join('|', @{ $columns{$name} }), "$name, on the " . $server->name);
	}
	is($node->psql('postgres', $queries{$name}, extra_params => [ '-U', 'watcher' ]), 0, "$name, as a member of pg_monitor");
	my (undef, undef, $err) = $node->psql('postgres', $queries{$name}, extra_params => [ '-U', 'stranger' ]);
	like($err, qr/permission denied for stat_/, "$name, as a stranger");
}
$standby->stop;

# a metric of each, as Prometheus scrapes it
sub program { my ($variable, $name) = @_; return $ENV{$variable} if $ENV{$variable}; my ($path) = grep { -x } map { "$_/$name" } split /:/, $ENV{PATH}; return $path; }
SKIP:
{
	my $exporter = program('EXPORTER_BIN', 'prometheus-postgres-exporter');
	skip 'postgres_exporter is missing', 1 unless $exporter;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = $node->basedir . '/exporter.log';
	local $ENV{DATA_SOURCE_NAME} = 'user=exporter dbname=postgres sslmode=disable host=' . $node->host . ' port=' . $node->port;
	my $process = IPC::Run::start([ $exporter, '--extend.query-path=docs/prometheus/queries.yaml', "--web.listen-address=127.0.0.1:$port",
		'--disable-default-metrics', '--disable-settings-metrics' ], '>', $log, '2>&1');
	my $metrics;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if IPC::Run::run([ 'curl', '-sf', "http://127.0.0.1:$port/metrics" ], '>', \$metrics) && $metrics =~ /^walwarden_/m || !$process->pumpable;
		usleep(100_000);
	}
	$process->kill_kill;
	$metrics =~ s/server="[^"]*",?//g;
	$metrics =~ s/,\}/}/g;
	like($metrics, qr/^\Q$_\E$/m, $_) foreach
	  'walwarden_token_count{org="acme",state="active"} 2', 'walwarden_token_expiring_7d{org="acme",state="active"} 1',
	  'walwarden_token_never_used{org="acme",state="active"} 2', 'walwarden_token_count{org="other",state="revoked"} 1',
	  'walwarden_chain_ok{org="acme"} 1', 'walwarden_chain_ok{org="_system"} 1',
	  'walwarden_grant_agrees{kind="monitor",login="",role="exporter"} 1', 'walwarden_grant_agrees{kind="rest",login="authenticator",role="web"} 0',
	  'walwarden_auth_total{outcome="refused",reason="unknown"} 1';
	like($metrics, qr/^walwarden_$_\{org="acme"\} [0-9.e+]+$/m, $_) foreach 'chain_age_seconds', 'chain_head_seq', 'summary_timestamp_seconds';
	unlike($metrics, qr/[0-9a-f]{8}-[0-9a-f]{4}-/, 'no token has a series of its own');
	unlike(slurp_file($log), qr/level=error/, 'the exporter logs no error');
}
$node->stop;

SKIP:
{
	my $promtool = program('PROMTOOL_BIN', 'promtool');
	skip 'promtool is missing', 1 unless $promtool;
	command_ok([ $promtool, 'check', 'rules', 'docs/prometheus/alerts.yaml' ], 'the rules are valid');
	command_ok([ $promtool, 'test', 'rules', 'test/prometheus/alerts.yaml' ], 'and fire when they should');
}
# and ask for metrics that the queries make
my %metrics = map { my $name = $_; map { ("${name}_$_" => 1) } @{ $columns{$name} } } keys %columns;
my $rules = slurp_file('docs/prometheus/alerts.yaml');
ok($metrics{$_}, "$_ is a metric") foreach $rules =~ /\b(walwarden_[a-z0-9_]+)/g;

done_testing();
