/*
 * Vector table, reset and faults. Owns the fault record in `.axr.noinit`, which a reset keeps.
 */
#include "start.h"

#include <stddef.h>
#include <string.h>

#include "registers.h"

#define RECORD_MAGIC 0x54464158UL

typedef struct fault_record {
    uint32_t magic;
    axr_fault_t fault;
    uint32_t check;
} fault_record_t;

/* From the linker script. */
extern uint32_t axr_stack_limit[];
extern uint32_t axr_stack_top[];
extern uint8_t axr_data_load[];
extern uint8_t axr_data_start[];
extern uint8_t axr_data_end[];
extern uint8_t axr_bss_start[];
extern uint8_t axr_bss_end[];

void axr_reset_handler(void);
void axr_fault_handler(void);
_Noreturn void axr_boot(void);

static fault_record_t record __attribute__((section(".axr.noinit")));
static uint32_t reset_reason;

typedef void (*axr_vector_t)(void);

typedef struct axr_vectors {
    uint32_t *stack;
    axr_vector_t handlers[15];
} axr_vectors_t;

/* No interrupt is ever enabled, so the table ends with the core's own exceptions. */
__attribute__((section(".axr.vectors"), used)) static const axr_vectors_t vectors = {
    axr_stack_top,
    {
        axr_reset_handler, axr_fault_handler, axr_fault_handler, axr_fault_handler,
        axr_fault_handler, axr_fault_handler, axr_fault_handler, axr_fault_handler,
        axr_fault_handler, axr_fault_handler, axr_fault_handler, axr_fault_handler,
        axr_fault_handler, axr_fault_handler, axr_fault_handler,
    },
};

/* The stack limit comes first: from here on an overflow is a fault and not a corruption. */
__attribute__((naked, used)) void axr_reset_handler(void)
{
    __asm volatile("ldr r0, =axr_stack_limit\n"
                   "msr msplim, r0\n"
                   "ldr r0, =axr_stack_top\n"
                   "mov sp, r0\n"
                   "b axr_boot\n");
}

/* The record is made below the faulting frame, or on a fresh stack when there is no room below,
 * which is where a stack overflow ends. */
__attribute__((naked, used)) void axr_fault_handler(void)
{
    __asm volatile("mrs r0, msp\n"
                   "mrs r1, ipsr\n"
                   "ldr r2, =axr_stack_limit\n"
                   "add r3, r2, #256\n"
                   "cmp r0, r3\n"
                   "bhs 1f\n"
                   "cmp r0, r2\n"
                   "it lo\n"
                   "movlo r0, r2\n"
                   "ldr r3, =axr_stack_top\n"
                   "mov sp, r3\n"
                   "1: b axr_nrf54l_fault\n");
}

static uint32_t check_of(const axr_fault_t *fault)
{
    return RECORD_MAGIC ^ fault->cause ^ fault->pc ^ fault->lr ^ fault->psr ^ fault->status ^
           fault->address;
}

static axr_fault_cause_t cause_of(uint32_t vector, uint32_t status)
{
    if ((status & AXR_CFSR_STACK_LIMIT) != 0U) {
        return AXR_FAULT_STACK;
    }
    switch (vector) {
    case 4U:
        return AXR_FAULT_MEMORY;
    case 5U:
        return AXR_FAULT_BUS;
    case 6U:
        return AXR_FAULT_USAGE;
    case 7U:
        return AXR_FAULT_SECURE;
    default:
        return AXR_FAULT_HARD;
    }
}

static uint32_t address_of(uint32_t vector, uint32_t status)
{
    if (vector == 7U) {
        return AXR_REG(AXR_REG_SCB_SFAR);
    }
    if ((status & AXR_CFSR_MMFAR_VALID) != 0U) {
        return AXR_REG(AXR_REG_SCB_MMFAR);
    }
    if ((status & AXR_CFSR_BFAR_VALID) != 0U) {
        return AXR_REG(AXR_REG_SCB_BFAR);
    }
    return 0U;
}

_Noreturn static void keep_and_reset(axr_fault_t fault)
{
    record.fault = fault;
    record.check = check_of(&record.fault);
    record.magic = RECORD_MAGIC;
    axr_port_reset();
}

_Noreturn void axr_nrf54l_give_up(axr_fault_cause_t cause)
{
    keep_and_reset((axr_fault_t){
        .cause = (uint32_t)cause,
        .pc = (uint32_t)__builtin_return_address(0),
    });
}

__attribute__((used)) _Noreturn void axr_nrf54l_fault(const axr_exception_frame_t *frame,
                                                      uint32_t vector)
{
    const uint32_t status = AXR_REG(AXR_REG_SCB_CFSR);
    keep_and_reset((axr_fault_t){
        .cause = (uint32_t)cause_of(vector, status),
        .pc = frame->pc,
        .lr = frame->lr,
        .psr = frame->psr,
        .status = status,
        .address = address_of(vector, status),
    });
}

__attribute__((used)) _Noreturn void axr_boot(void)
{
    memcpy(axr_data_start, axr_data_load, (size_t)(axr_data_end - axr_data_start));
    memset(axr_bss_start, 0, (size_t)(axr_bss_end - axr_bss_start));
    AXR_REG(AXR_REG_SCB_VTOR) = (uint32_t)&vectors;
    AXR_REG(AXR_REG_SCB_SHCSR) = AXR_REG(AXR_REG_SCB_SHCSR) | AXR_SHCSR_FAULTS;
    AXR_REG(AXR_REG_SCB_CPACR) = AXR_REG(AXR_REG_SCB_CPACR) | 0x00F00000UL;
    __asm volatile("dsb\n isb");
    reset_reason = AXR_REG(AXR_REG_RESET_RESETREAS);
    AXR_REG(AXR_REG_RESET_RESETREAS) = 0xFFFFFFFFUL; /* written ones clear */
    axr_nrf54l_clock_start();
    axr_nrf54l_port_start();
    axr_main();
}

axr_boot_t axr_port_boot(void)
{
    axr_boot_t boot = {.reset_reason = reset_reason};
    if (record.magic == RECORD_MAGIC && record.check == check_of(&record.fault)) {
        boot.fault = record.fault;
    }
    record.magic = 0U;
    return boot;
}

_Noreturn void axr_port_reset(void)
{
    __asm volatile("dsb");
    AXR_REG(AXR_REG_SCB_AIRCR) = AXR_AIRCR_RESET;
    __asm volatile("dsb");
    for (;;) {
    }
}
