// SPDX-License-Identifier: GPL-2.0
/*
 * wrong: goes wrong in the way that a parameter names, at the time that the
 * parameter's own name tells: in init, in exit, or when now is written.
 *
 * Each way is one that gives no verdict.
 */
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/kallsyms.h>
#include <linux/kmemleak.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stacktrace.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>

static char *init = "";
module_param(init, charp, 0);
static char *exit = "";
module_param(exit, charp, 0);

static int do_panic(void)
{
	panic("wrong: on purpose");
	return 0;
}

/* In D state: not even SIGKILL ends it. */
static int do_hang(void)
{
	static DECLARE_COMPLETION(never);

	wait_for_completion(&never);
	return 0;
}

/* The agent never runs again. */
static int do_spin(void)
{
	local_irq_disable();
	for (;;) /* no cpu_relax: warped time crawls in a pause */
		barrier();
	return 0;
}

static noinline int do_oops(void)
{
	return READ_ONCE(*(int *)8);
}

static int oops_thread(void *unused)
{
	return do_oops();
}

/* Whoever started it never hears of it. */
static int do_oops_aside(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(oops_thread, NULL, "wrong"));
}

static int do_warn(void)
{
	WARN(1, "wrong: on purpose\n");
	return 0;
}

/* As drivers do that miss something: a reason in the log, and an error. */
static int do_refuse(void)
{
	pr_err("wrong: the firmware is not there, on purpose\n");
	return -ENODEV;
}

/* A reference that nobody drops. */
static int do_hold(void)
{
	__module_get(THIS_MODULE);
	return 0;
}

struct piece {
	struct list_head list;
	char rest[];
};

static LIST_HEAD(pieces);

static void drop_pieces(void)
{
	struct piece *p, *next;

	list_for_each_entry_safe(p, next, &pieces, list)
		kfree(p);
	INIT_LIST_HEAD(&pieces);
}

static int take_pieces(size_t count, size_t size)
{
	while (count--) {
		struct piece *p = kmalloc(size, GFP_KERNEL);

		if (!p)
			return -ENOMEM;
		list_add(&p->list, &pieces);
	}
	return 0;
}

/* All there is; exit gives it back. */
static int do_eat(void)
{
	int err = take_pieces(SIZE_MAX, PAGE_SIZE);

	drop_pieces();
	return err;
}

/* More than kmemleak's pool holds; the script sees to it that there is no slab. */
static int do_many(void)
{
	return take_pieces(20000, 32);
}

/* An object inside another: kmemleak turns itself off. */
static int do_overlap(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	kmemleak_alloc(p + 16, 16, 1, GFP_KERNEL);
	kfree(p);
	return 0;
}

/* SLUB's own checks tell of it, and the kernel goes on. */
static int do_free_twice(void)
{
	void *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	kfree(p);
	return 0;
}

/* More than the kernel's log holds, too fine for the console. */
static int do_chatter(void)
{
	int i;

	for (i = 0; i < 20000; i++)
		printk(KERN_DEBUG "wrong: %d\n", i);
	return 0;
}

static struct timer_list loser;

static void lose(struct timer_list *t)
{
	int *lost = kmalloc(32, GFP_ATOMIC);

	if (lost)
		WRITE_ONCE(*lost, 1);
	mod_timer(t, jiffies + HZ);
}

/* One more orphan every second, for as long as the module is loaded. */
static int do_lose(void)
{
	timer_setup(&loser, lose, 0);
	lose(&loser);
	return 0;
}

/* Memory that is gone, but not for kmemleak, which reads it at every scan. */
static int do_trap(void)
{
	void *p = vmalloc(PAGE_SIZE);

	if (!p)
		return -ENOMEM;
	vfree(p);
	kmemleak_alloc(p, PAGE_SIZE, 0, GFP_KERNEL);
	return 0;
}

/*
 * A timer looks for a function on the stack of whatever it interrupts, so many
 * times, then for the next one, and does its deed when it has met the last.
 */
struct prey {
	const char *function;
	int times;
};

static struct hrtimer timer;
static struct prey *prey;
static void (*deed)(void);

static enum hrtimer_restart look(struct hrtimer *t)
{
	unsigned long trace[48];
	unsigned int i, n = stack_trace_save(trace, ARRAY_SIZE(trace), 0);
	char name[KSYM_SYMBOL_LEN];

	for (i = 0; i < n && prey->function; i++) {
		snprintf(name, sizeof(name), "%ps", (void *)trace[i]);
		if (!strcmp(name, prey->function) && !--prey->times)
			prey++;
	}
	if (!prey->function) {
		deed();
		return HRTIMER_NORESTART;
	}
	hrtimer_forward_now(t, ns_to_ktime(100 * NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

static int hunt(struct prey *functions, void (*then)(void))
{
	prey = functions;
	deed = then;
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = look;
	hrtimer_start(&timer, 0, HRTIMER_MODE_REL);
	return 0;
}

static void panic_now(void)
{
	panic("wrong: during a scan");
}

static int do_panic_in_scan(void)
{
	static struct prey functions[] = { { "kmemleak_scan", 1 }, {} };

	return hunt(functions, panic_now);
}

/* The sleep button of QEMU's machine "pc" (hw/acpi/piix4.c: PM1a_CNT, SLP_EN). */
static void power_off(void)
{
	outw(1 << 13, 0x604);
}

/* A scan's own message is met a few times at most, a report of megabytes often. */
static int do_off_in_report(void)
{
	static struct prey functions[] = {
		{ "kmemleak_scan", 1 }, { "port_fops_write", 100 }, {}
	};

	return hunt(functions, power_off);
}

static const struct way {
	const char *name;
	int (*go)(void);
} ways[] = {
	{ "panic", do_panic },
	{ "hang", do_hang },
	{ "spin", do_spin },
	{ "oops", do_oops },
	{ "oops-aside", do_oops_aside },
	{ "warn", do_warn },
	{ "refuse", do_refuse },
	{ "hold", do_hold },
	{ "eat", do_eat },
	{ "many", do_many },
	{ "lose", do_lose },
	{ "free-twice", do_free_twice },
	{ "chatter", do_chatter },
	{ "overlap", do_overlap },
	{ "trap", do_trap },
	{ "panic-in-scan", do_panic_in_scan },
	{ "off-in-report", do_off_in_report },
};

static int go(const char *name)
{
	int i;

	if (!*name)
		return 0;
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		if (sysfs_streq(name, ways[i].name))
			return ways[i].go();
	pr_err("wrong: no such way: %s\n", name);
	return -EINVAL;
}

static int set_now(const char *name, const struct kernel_param *kp)
{
	return go(name);
}

static const struct kernel_param_ops now_ops = { .set = set_now };
module_param_cb(now, &now_ops, NULL, 0200);

static int __init wrong_init(void)
{
	return go(init);
}

static void __exit wrong_exit(void)
{
	go(exit);
	drop_pieces();
}

module_init(wrong_init);
module_exit(wrong_exit);
MODULE_DESCRIPTION("Goes wrong");
MODULE_LICENSE("GPL");
