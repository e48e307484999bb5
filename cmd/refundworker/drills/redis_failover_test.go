package drills

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refundworker/idempotency/servertest"

	"github.com/redis/go-redis/v9"
)

// The master dies before its replica got the last refunds, and the replica takes its place.
func TestRedisFailoverLosesTheTail(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	replica, replication := r.replica()
	r.begin(nil)
	r.leaveBehind(replica, replication)
	before := r.load.all()
	release := r.holdRebuild()
	r.breaks(func() {
		r.redis.kill()
		replica.do("REPLICAOF", "NO", "ONE")
		r.move(replica)
	}, "projection_behind")
	r.again(before)
	r.silent()
	release()
	r.over()
	r.end()
}

// Sentinels notice that the master died and choose the replica, which did not get the last refunds. The workers are
// led there by the Sentinels alone.
func TestRedisFailoverBySentinels(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	replica, replication := r.replica()
	sentinels := r.sentinels(3)
	config := r.config(func(settings map[string]any) {
		settings["redis"] = map[string]any{"addresses": sentinels, "masterName": sentinelMaster}
	})
	for range 2 {
		r.workers = append(r.workers, r.startWorker("--config", config, "--nats-url", r.nats.url()))
	}
	r.goOn()
	r.leaveBehind(replica, replication)
	before := r.load.all()
	r.breaks(func() { r.redis.kill() }, "redis_unreachable")
	r.again(before)
	from := time.Now().Add(leaving())
	r.until("the replica is the master", func() error {
		role, err := replica.rdb.Do(context.Background(), "ROLE").Slice() // whoever is promoted breaks connections off
		if err == nil && role[0] != "master" {
			err = fmt.Errorf("it is a %v", role[0])
		}
		return err
	})
	if n := r.bank.askedBetween(from, time.Now()); n > 0 {
		t.Errorf("%d provider calls while there was no master", n)
	}
	r.redis = replica
	r.over()
	r.end()
}

// replica starts a replica of the drill's Redis, behind a link, and waits until it has all that there is.
func (r *outage) replica() (*redisProcess, *link) {
	r.t.Helper()
	r.redis.do("CONFIG", "SET", "repl-diskless-sync-delay", 0)
	replication := r.link(r.redis.addr)
	host, port, _ := net.SplitHostPort(replication.addr)
	replica := r.drill.redis("--replicaof", host+" "+port)
	r.until("the replica is in step", func() error {
		if status := replica.field("master_link_status"); status != "up" {
			return fmt.Errorf("its link is %s", status)
		}
		return nil
	})
	return replica, replication
}

// leaveBehind has refunds made that the replica never gets to know, and every worker see them.
func (r *outage) leaveBehind(replica *redisProcess, replication *link) {
	r.t.Helper()
	replication.hold()
	r.made(someRefunds)
	r.seen()
	const pos = "{refunds.5.1:0}:pos"
	ahead, _ := r.redis.rdb.HGet(context.Background(), pos, "s").Uint64()
	behind, err := replica.rdb.HGet(context.Background(), pos, "s").Uint64()
	if err != nil || behind+someRefunds > ahead {
		r.t.Fatalf("the replica is at event %d (%v), its master at %d: want it %d events behind", behind, err, ahead, someRefunds)
	}
}

const sentinelMaster = "refunds"

// sentinels starts Sentinels that watch the drill's Redis, and waits until they know its replica and one another.
func (r *outage) sentinels(n int) (addresses []string) {
	r.t.Helper()
	host, port, _ := net.SplitHostPort(r.redis.addr)
	for i := range n {
		address := servertest.Address(r.t)
		_, own, _ := net.SplitHostPort(address)
		// The workers notice the loss before the Sentinels do. Until failover-timeout has passed no Sentinel puts right
		conf := strings.Join([]string{"bind 127.0.0.1", "port " + own, "dir " + r.dir,
			fmt.Sprintf("sentinel monitor %s %s %s 2", sentinelMaster, host, port),
			"sentinel down-after-milliseconds " + sentinelMaster + " 6000",
			"sentinel failover-timeout " + sentinelMaster + " 60000", ""}, "\n")
		file := filepath.Join(r.dir, fmt.Sprintf("sentinel-%d.conf", i))
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.launch(exec.Command(r.redis.cmd.Path, file, "--sentinel"))
		addresses = append(addresses, address)
	}
	for _, address := range addresses {
		r.sentinelReady(address, n)
	}
	return addresses
}

func (r *outage) sentinelReady(address string, n int) {
	r.t.Helper()
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: address})
	defer sentinel.Close()
	r.until("sentinel "+address+" knows the others", func() error {
		master, err := sentinel.Master(context.Background(), sentinelMaster).Result()
		if err != nil {
			return err
		}
		if master["num-slaves"] != "1" || master["num-other-sentinels"] != fmt.Sprint(n-1) {
			return fmt.Errorf("it knows %s replicas and %s other sentinels", master["num-slaves"], master["num-other-sentinels"])
		}
		return nil
	})
}
